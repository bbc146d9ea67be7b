import { runCommand } from '../program.js'
import { demoCommand } from './demo.js'

await runCommand(demoCommand)
