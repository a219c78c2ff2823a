// Loaded into each test file's process: it is measured itself, the programs that it starts
// are not. Their measuring would take as long as they do, and the bar is held without it.
// (The test runner's own process, which starts the test files, passes it on.)

if (!process.execArgv.includes('--test')) delete process.env.NODE_V8_COVERAGE
