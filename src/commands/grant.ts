// What an invitation or an issued certificate gives: scopes to a command line, labels to a
// worker.

import type { NodeType } from '../../protocol/index.ts'
import { DEFAULT_SCOPES, type Scope } from '../../protocol/scopes.ts'
import { type Grant, isGrantable } from '../identity/subject.ts'
import { UsageError } from './io.ts'

/** The flags `--scope` and `--label`, as gathered. */
export interface GrantOptions {
  readonly role: NodeType
  readonly scope?: readonly Scope[]
  readonly label?: Readonly<Record<string, string>>
}

/** Throws a UsageError for what makes no sense, or does not fit a certificate. */
export const grantOf = ({ role, scope, label }: GrantOptions): Grant => {
  if (label !== undefined && role !== 'worker')
    throw new UsageError(`--label: tasks ask workers for labels, a ${role} has none`)
  const scopes = [...new Set(scope ?? DEFAULT_SCOPES)]
  const grant = { scopes, ...(label && { labels: label }) }
  if (isGrantable(grant)) return grant
  throw new UsageError('--scope and --label: these are more than a certificate holds')
}

/** `read, tasks:run@lab-*`, as people read it. */
export const describeScopes = (scopes: readonly Scope[] = []): string =>
  scopes.length === 0 ? 'nothing' : scopes.join(', ')
