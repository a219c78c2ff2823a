// Credentials: a member's key and certificate, in a directory of two files that appears
// whole, by one rename, or not at all. What is there and wrong is named, never replaced: a
// new key would be another member under the same name.

import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import { syncDirectory, writeNew } from '../files.ts'
import { accessFault, codeOf, makePrivateDirectory } from './files.ts'
import { meshIdOf, type Party, parseCertificate, readSubject } from './subject.ts'

/** What a member shows and what it trusts. */
export interface Credentials {
  readonly meshId: string
  readonly party: Party
  readonly keyPem: string
  readonly certificatePem: string
  /** The certificates of the authorities whose members are believed. */
  readonly trustPem: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** The mesh that a directory belongs to, as its authority's certificate says it. */
export interface Trust {
  readonly meshId: string
  readonly trustPem: string
  readonly certificate: X509Certificate
}

export type CredentialsFault =
  | { readonly kind: 'access'; readonly path: string; readonly reason: string }
  | { readonly kind: 'damaged'; readonly path: string; readonly reason: string }

const KEY = 'key.pem'
const CERTIFICATE = 'cert.pem'

/** Puts a directory with these files at `path` in one step; false: one was there already. */
export const placeDirectory = (
  path: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): boolean => {
  const parent = dirname(path)
  const draft = mkdtempSync(join(parent, '.new-'))
  try {
    for (const [name, content] of Object.entries(files)) {
      makePrivateDirectory(dirname(join(draft, name)))
      writeNew(join(draft, name), content)
    }
    syncDirectory(draft)
    renameSync(draft, path)
    syncDirectory(parent)
    return true
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    if (['ENOTEMPTY', 'EEXIST'].includes(codeOf(error))) return false
    throw error
  }
}

/** The files of a member's key and certificate, in the folder `within`. */
export const credentialFiles = (
  keyPem: string,
  certificatePem: string,
  within = '.',
): Readonly<Record<string, string>> => ({
  [join(within, KEY)]: keyPem,
  [join(within, CERTIFICATE)]: certificatePem,
})

/** Where the certificate lies, for its renewal. */
export const certificatePath = (directory: string): string => join(directory, CERTIFICATE)

/** A file that nobody else can read, as text. */
export const readPrivate = (path: string): Either<CredentialsFault, string> => {
  const fault = accessFault(path, 'file')
  if (fault !== undefined) return E.left({ kind: 'access', ...fault })
  try {
    return E.right(readFileSync(path, 'utf8'))
  } catch (error) {
    const reason = `cannot read ${path} (${codeOf(error)})`
    return E.left({ kind: 'access', path, reason })
  }
}

/** The mesh of an authority's certificate. */
export const readTrust = (path: string): Either<CredentialsFault, Trust> => {
  const pem = readPrivate(path)
  if (E.isLeft(pem)) return pem
  const certificate = parseCertificate(pem.right)
  if (certificate === undefined || !certificate.ca)
    return E.left(damaged(path, "is not a mesh's certificate"))
  const meshId = meshIdOf(certificate.publicKey)
  return E.right({ meshId, trustPem: pem.right, certificate })
}

/** A member's credentials; undefined where there are none. */
export const readCredentials = (
  directory: string,
  trust: Trust,
): Either<CredentialsFault, Credentials | undefined> => {
  if (!existsSync(directory)) return E.right(undefined)
  const fault = accessFault(directory, 'directory')
  if (fault !== undefined) return E.left({ kind: 'access', ...fault })
  const key = readPrivate(join(directory, KEY))
  if (E.isLeft(key)) return key
  const certificate = readPrivate(join(directory, CERTIFICATE))
  if (E.isLeft(certificate)) return certificate
  return checkCredentials(directory, key.right, certificate.right, trust)
}

const checkCredentials = (
  directory: string,
  keyPem: string,
  certificatePem: string,
  trust: Trust,
): Either<CredentialsFault, Credentials> => {
  const certificate = parseCertificate(certificatePem)
  const path = join(directory, CERTIFICATE)
  if (certificate === undefined) return E.left(damaged(path, 'is not a certificate'))
  const key = parseKey(keyPem)
  if (key === undefined) return E.left(damaged(join(directory, KEY), 'is not a key'))
  if (!certificate.checkPrivateKey(key))
    return E.left(damaged(path, `does not belong to the key beside it (${KEY})`))
  if (!certificate.verify(trust.certificate.publicKey))
    return E.left(damaged(path, 'is of another mesh than this state directory'))
  const party = readSubject(certificate, trust.meshId)
  if (typeof party === 'string')
    return E.left(damaged(path, `does not say who it is for (${party})`))
  return E.right({
    meshId: trust.meshId,
    party,
    keyPem,
    certificatePem,
    trustPem: trust.trustPem,
    // X509Certificate has its dates as text alone on Node.js 20.
    notBeforeMs: Date.parse(certificate.validFrom),
    notAfterMs: Date.parse(certificate.validTo),
  })
}

const parseKey = (pem: string): KeyObject | undefined => {
  try {
    return createPrivateKey(pem)
  } catch {
    return undefined
  }
}

export const damaged = (path: string, what: string): CredentialsFault => ({
  kind: 'damaged',
  path,
  reason: `${path} ${what}; it is not replaced, because that would split the mesh: restore it, or stop all nodes here and remove the directory`,
})
