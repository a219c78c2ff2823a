// Process address: how a person names a process of a host: HOST/PID, or HOST/pN, which
// stays over restarts.

import { HostName } from '../../protocol/scalars.ts'
import type { WhichProcess } from '../client/host.ts'
import { UsageError } from './io.ts'
import { oneLine } from './values.ts'

export interface ProcessAddress {
  readonly host: string
  readonly which: WhichProcess
}

export const isProcessAddress = (text: string): boolean => text.includes('/')

export const parseProcessAddress = (text: string): ProcessAddress => {
  const [, host = '', name = ''] = /^([^/]+)\/(p?[1-9]\d{0,15})$/.exec(text) ?? []
  if (!HostName.is(host))
    throw new UsageError(
      `expected HOST/PID or HOST/pN as \`manyhands ps\` shows them, got '${oneLine(text)}'`,
    )
  return { host, which: name.startsWith('p') ? name : Number(name) }
}
