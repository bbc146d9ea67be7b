import { renditionsCommand } from '../../cli/commands/renditions.js'
import { failure, type Call } from '../../cli/program.js'

const WORKER = new URL('../../services/pictures/worker.js', import.meta.url)
/** `npm run renditions`. */
export const renditions = (call: Call) => renditionsCommand(call, WORKER)

/** Runs a command of `cli/commands/` in this process. It ends as its program would end. */
export async function endOf (
  command: (call: Call) => Promise<number>,
  args: string[],
  env: Record<string, string>
): Promise<{ code: number, stdout: string, stderr: string }> {
  let stdout = ''
  try {
    const print = (line: string) => { stdout += `${line}\n` }
    const code = await command({ args, env, print, progress: { show () {}, end () {} } })
    return { code, stdout, stderr: '' }
  } catch (error) {
    return { stdout, ...failure(error as Error) }
  }
}
