// The package's version, from its package.json: one place to change it.

import { readFileSync } from 'node:fs'

/** Compiled files lie one or two folders below the package's root, bundled chunks too. */
const PLACES = ['../package.json', '../../package.json']

/** '0.1.0'; 'unknown' if the program was taken out of its package. */
export const packageVersion = (): string => {
  for (const place of PLACES) {
    const version = versionIn(new URL(place, import.meta.url))
    if (version !== undefined) return version
  }
  return 'unknown'
}

const versionIn = (url: URL): string | undefined => {
  try {
    const { name, version } = JSON.parse(readFileSync(url, 'utf8'))
    return name === 'manyhands' && typeof version === 'string' ? version : undefined
  } catch {
    return undefined
  }
}
