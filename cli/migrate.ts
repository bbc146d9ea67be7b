import { migrateCommand } from './commands/migrate.js'
import { runCommand } from './program.js'

await runCommand(migrateCommand)
