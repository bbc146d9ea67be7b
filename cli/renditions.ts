import { renditionsCommand } from './commands/renditions.js'
import { runCommand } from './program.js'

await runCommand(renditionsCommand)
