/** Runs the tests whose length the environment sets, at a length for a night. */
import { spawnSync } from 'node:child_process'

const long = { TEST_LONG: '1', SOAK_SECONDS: '600' }
const files = [
  ...[
    'account-races', 'soak', 'stop', 'kill', 'upload-harness', 'services/pictures/scrub', 'routes/upload-mutants',
    'routes/auth-races', 'routes/users', 'routes/auth-timing', 'routes/upload-memory', 'cli/migrate', 'sweeper',
    'tokens'
  ].map(
    name => `test/${name}.test.ts`
  ),
  'test/long/fraud-day.ts'
]
const {
  status
} = spawnSync('npx', ['tap', 'run', '--jobs=1', '--timeout=14400', ...files], {
  stdio: 'inherit',
  env: { ...long, ...process.env }
})
process.exit(status ?? 1)
