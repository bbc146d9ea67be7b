import { writeFileSync } from 'node:fs'

/**
 * The child's end of harness/processes.js. Sends `ready` to the parent, then the usage of this process at each request.
 * Ends with its parent. `facts` gives further figures for the parent, `work` does a task for it.
 */
export function serveParent (ready, facts = () => ({}), work = undefined) {
  process.on('message', async message => {
    if (message === 'reset') forgetPeak()
    if (message === 'watch') watchHeld()
    process.send(message.task ? await work(message.task) : { ...usage(), ...facts() })
  })
  process.on('disconnect', () => process.exit())
  process.send(ready)
}

let held = 0

/**
 * From now on `held` is the most memory that was not garbage. It is read after a forced collection, so do not measure
 * anything else meanwhile.
 */
function watchHeld () {
  held = 0
  setInterval(() => {
    globalThis.gc?.()
    held = Math.max(held, live())
  }, 100).unref()
}

function live () {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function usage () {
  const { user, system } = process.cpuUsage()
  return {
    cpuSeconds: (user + system) / 1e6,
    memory: process.memoryUsage.rss(),
    peak: process.resourceUsage().maxRSS * 1024,
    live: live(),
    held
  }
}

/**
 * Resets the peak of resident memory to the present value (proc(5), clear_refs). On other systems than Linux the peak
 * may be that of the start.
 */
function forgetPeak () {
  globalThis.gc?.()
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {}
}
