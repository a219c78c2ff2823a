// Bundles the command line into one file (imports of many small files cost more than
// all of the rest of its start), and the launcher, which runs beside it.

import { existsSync } from 'node:fs'
import { chmod, rm } from 'node:fs/promises'
import { build } from 'esbuild'

const entries = { manyhands: 'src/cli.ts', launcher: 'src/runner/launcher.ts' }
// Chunks are named by their content: those of an older build would be published too.
await rm('dist/chunks', { recursive: true, force: true })
await build({
  entryPoints: Object.fromEntries(
    Object.entries(entries).filter(([, file]) => existsSync(file)),
  ),
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  format: 'esm',
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  sourcemap: true,
  legalComments: 'none',
  // Some dependencies are CommonJS and ask for Node's modules by require.
  banner: {
    js: "import { createRequire as manyhandsRequire } from 'node:module'; const require = manyhandsRequire(import.meta.url);",
  },
  logLevel: 'warning',
})
if (existsSync('dist/manyhands.js')) await chmod('dist/manyhands.js', 0o755)
