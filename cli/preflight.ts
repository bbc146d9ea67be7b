import { preflightCommand } from './commands/preflight.js'
import { runCommand } from './program.js'

await runCommand(preflightCommand)
