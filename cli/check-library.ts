import { checkLibraryCommand } from './commands/check-library.js'
import { runCommand } from './program.js'

await runCommand(checkLibraryCommand)
