import { readdir, readFile } from 'node:fs/promises'

/** Clock ticks a second in /proc (proc(5), USER_HZ). */
const TICKS = 100

/**
 * The CPU seconds of a process since its start, with those of its threads, of its children and of the ended children
 * that it waited for; and its resident memory and its children's, in bytes. Pages that they share count in each. Linux
 * only.
 */
export async function usageOf (pid) {
  const processes = await allProcesses()
  const family = [pid]
  for (const id of family) family.push(...processes.filter(({ parent }) => parent === id).map(({ pid }) => pid))
  const members = processes.filter(({ pid }) => family.includes(pid))
  const resident = await Promise.all(family.map(residentOf))
  return {
    cpuSeconds: members.reduce((sum, { ticks }) => sum + ticks, 0) / TICKS,
    memory: resident.reduce((sum, bytes) => sum + bytes)
  }
}

async function allProcesses () {
  const pids = (await readdir('/proc')).filter(name => /^\d+$/.test(name))
  const stats = await Promise.all(pids.map(pid => readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')))
  return stats.filter(text => text !== '').map(text => {
    const [, parent, ...fields] = text.slice(text.lastIndexOf(')') + 2).split(' ').map(Number)
    const ticks = fields.slice(9, 13).reduce((sum, time) => sum + time) // utime, stime, cutime, cstime
    return { pid: parseInt(text), parent, ticks }
  })
}

async function residentOf (pid) {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024
}
