// Writes the table of exchanges into protocol/README.md, from the compiled table.
//
//   npm run docs:protocol

import { readFileSync, writeFileSync } from 'node:fs'
import { withTable } from '../dist/protocol/table.js'

const readme = new URL('../protocol/README.md', import.meta.url)
writeFileSync(readme, withTable(readFileSync(readme, 'utf8')))
