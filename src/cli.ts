#!/usr/bin/env node
// The command's entry: arguments, environment, signals and the exit code, nothing else.
// What a word needs is loaded when it is used: most of a short command's time is imports.

const argv = process.argv.slice(2)
const isNode = argv.some((word) => word === '--role' || word.startsWith('--role='))

const run = async (): Promise<number> => {
  const { packageVersion } = await import('./version.ts')
  if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-V')) {
    process.stdout.write(`${packageVersion()}\n`)
    return 0
  }
  if (!isNode || !argv[0]?.startsWith('--')) {
    const { main } = await import('./commands/main.ts')
    const { processIo } = await import('./commands/io.ts')
    return main(argv, processIo())
  }
  const { start } = await import('./commands/start.ts')
  // Whoever read the node's lines may go; the node stays.
  process.stdout.on('error', () => undefined)
  process.stderr.on('error', () => undefined)
  return start(argv, {
    environment: process.env,
    version: packageVersion(),
    out: (text) => process.stdout.write(text),
    error: (text) => process.stderr.write(text),
    onSignal: (fn) => {
      process.on('SIGINT', fn)
      process.on('SIGTERM', fn)
    },
    quit: (code) => process.exit(code),
  })
}

process.exitCode = await run()
