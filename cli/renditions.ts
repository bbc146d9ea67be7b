import { renditionsCommand } from './commands/renditions.js'
import { runCommand } from './program.js'

/** Its place beside this file is the same in the image. */
const WORKER = new URL('../services/pictures/worker.js', import.meta.url)

await runCommand(call => renditionsCommand(call, WORKER))
