import { writeFileSync } from 'node:fs'

/**
 * The child's end of harness/processes.js: tells the parent that it is `ready`, and then what this process has used
 * whenever it is asked; ends with its parent.
 * `facts` is what the parent may want to know besides, `work` what it may have done here.
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
 * From now on `held` is the most memory that was not garbage: looked at after a collection each time, so nothing else
 * should be measured meanwhile.
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
 * Of all memory that was ever resident, counts again from what is now (proc(5), clear_refs); elsewhere than on Linux
 * the peak may be that of the start.
 */
function forgetPeak () {
  globalThis.gc?.()
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {}
}
