// Bundles the command line into one file (imports of many small files cost more than
// all of the rest of its start), the launcher and the thread of simulate, which run beside
// it; and the protocol
// library for pages that have no bundler of their own.

import { existsSync } from 'node:fs'
import { chmod, rm } from 'node:fs/promises'
import { build } from 'esbuild'

const entries = {
  manyhands: 'src/cli.ts',
  launcher: 'src/runner/launcher.ts',
  'simulate-thread': 'src/commands/simulate-thread.ts',
  'inspect-process': 'src/ledger/inspect-process.ts',
}
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
  // It finds its native part beside itself.
  external: ['lmdb'],
  chunkNames: 'chunks/[name]-[hash]',
  sourcemap: true,
  legalComments: 'none',
  // The forms of io-ts and fp-ts from which what is not used can be left out.
  mainFields: ['module', 'main'],
  alias: { 'fp-ts/lib': 'fp-ts/es6' },
  // Optional native parts that the dependencies look for. The search alone (libc's kind, by
  // way of child_process) costs more than the rest of the protocol library's start, and
  // msgpackr's made no difference to the rate of tasks.
  define: {
    'process.env.MSGPACKR_NATIVE_ACCELERATION_DISABLED': '"true"',
    'process.env.WS_NO_BUFFER_UTIL': '"true"',
    'process.env.WS_NO_UTF_8_VALIDATE': '"true"',
  },
  // Some dependencies are CommonJS and ask for Node's modules by require.
  banner: {
    js: "import { createRequire as manyhandsRequire } from 'node:module'; const require = manyhandsRequire(import.meta.url);",
  },
  logLevel: 'warning',
})
if (existsSync('dist/manyhands.js')) await chmod('dist/manyhands.js', 0o755)

// Everything inside: what needs Node would fail the build here, not in somebody's page.
const forBrowsers = {
  bundle: true,
  platform: 'browser',
  target: 'es2022',
  format: 'esm',
  sourcemap: true,
  legalComments: 'none',
  alias: { 'fp-ts/lib': 'fp-ts/es6' },
  logLevel: 'warning',
}
await build({
  ...forBrowsers,
  entryPoints: ['protocol/index.ts'],
  outfile: 'dist/protocol/browser.js',
  minify: true,
})
await build({
  ...forBrowsers,
  entryPoints: ['examples/04-browser/page/worker.ts'],
  outfile: 'dist/examples/04-browser/worker.js',
  external: ['manyhands/protocol'],
})
