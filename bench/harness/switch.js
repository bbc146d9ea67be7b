import { appendFileSync } from 'node:fs'
import { shuffled } from './rounds.js'

/** Requests that one way answers before the next. Each pays for nearly all of its garbage and of its log's writes. */
const BLOCK = 1200

const { BENCH_WAYS, BENCH_BLOCKS } = process.env
const ways = JSON.parse(BENCH_WAYS)
const plugins = new Map()
let isCounted = false
let order = []
let way = 0
let route
let [requests, isWhole, begun] = [0, false, process.cpuUsage()]

/**
 * Wraps a plugin of the service so that its listeners can be switched off and on. The process goes through the ways of
 * BENCH_WAYS by itself, in a new random order in each round: 1,200 requests in one way, then in the next. It appends
 * what they took to the file BENCH_BLOCKS, as lines of JSON: the way's index, the route, and the microseconds of CPU of
 * a request, those of all threads. What a plugin hears from the driver is not switched.
 */
export function switchable (name, plugin) {
  const state = { isOn: false }
  plugins.set(name, state)
  const listening = add => add && (listener => add((...event) => { if (state.isOn) listener(...event) }))
  const switched = (app, options) => {
    if (app.onRequestEnd && !isCounted) {
      isCounted = true
      app.onRequestEnd(count)
    }
    return plugin(Object.create(app, {
      onRequestEnd: { value: listening(app.onRequestEnd) },
      onDatabaseCommand: { value: listening(app.onDatabaseCommand) }
    }), options)
  }
  return Object.assign(switched, plugin)
}

function count ({ routeOptions: { url } }) {
  if (url !== route) isWhole = false
  route = url
  if (++requests < BLOCK) return
  const { user, system } = process.cpuUsage(begun)
  if (isWhole) appendFileSync(BENCH_BLOCKS, `${JSON.stringify({ way, route, cpu: (user + system) / BLOCK })}\n`)
  if (order.length === 0) order = shuffled([...ways.keys()])
  way = order.pop()
  for (const [name, state] of plugins) state.isOn = ways[way].includes(name)
  ;[requests, isWhole, begun] = [0, true, process.cpuUsage()]
}
