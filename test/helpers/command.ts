import { failure, type Call } from '../../cli/program.js'

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
