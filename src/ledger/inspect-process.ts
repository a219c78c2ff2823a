// The process that reads a database through: every record with its checksum. It says what
// it finds wrong, or dies of it.

import { openStore } from './store.ts'
import { bodyOf } from './values.ts'

const read = (directory: string): string | undefined => {
  const store = openStore(directory, true)
  try {
    const { batches, states, labels, meta } = store
    if (typeof meta.get('epoch') !== 'number') return 'it has no epoch'
    for (const [name, database] of Object.entries({ batches, states, labels }))
      for (const { key, value } of database.getRange({}))
        bodyOf(value, `${name} ${String(key)}`)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

const fault = read(process.argv[2] ?? '')
if (fault === undefined) process.exit(0)
process.send?.(fault, () => process.exit(1))
