/** The tests whose runs take their length from the environment, for as long as a night allows. */
import { spawnSync } from 'node:child_process'

const long = { SOAK_SECONDS: '600', HARNESS_RUNS: '200' }
const files = ['soak', 'stop', 'kill', 'upload-harness'].map(name => `test/${name}.test.ts`).concat('test/long/fraud-day.ts')
const { status } = spawnSync('npx', ['tap', 'run', '--jobs=1', '--timeout=14400', ...files], { stdio: 'inherit', env: { ...long, ...process.env } })
process.exit(status ?? 1)
