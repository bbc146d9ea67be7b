import fp from 'fastify-plugin'
import { Counter, Gauge } from 'prom-client'
import { createSeriesHistogram } from '../services/series-histogram.js'

const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

/** Counts and times the commands of the database, and shows its connections by the driver's events. */
export default fp(async function databaseMetrics (app) {
  const { client } = app.mongo
  const observe = createSeriesHistogram({
    registry: app.metrics.registry,
    name: 'hookaba_mongodb_command_duration_seconds',
    help: 'Commands to MongoDB with their wait for a connection, by command and outcome',
    labelNames: ['command', 'outcome'],
    buckets: BUCKETS
  })
  const unreachable = new Counter({
    name: 'hookaba_mongodb_unreachable_total',
    help: 'Checks of a MongoDB server that failed, and commands for which there was no connection or none was free',
    labelNames: ['reason'],
    registers: [app.metrics.registry]
  })
  for (const reason of ['heartbeat', 'connection', 'pool_timeout']) unreachable.inc({ reason }, 0)
  app.metrics.registry.registerMetric(new Gauge({
    name: 'hookaba_mongodb_connections',
    help: 'Connections to MongoDB that are in use or idle, and commands that wait for one',
    labelNames: ['state'],
    registers: [],
    collect () {
      this.set({ state: 'in_use' }, inUse)
      this.set({ state: 'idle' }, Math.max(0, open - inUse))
      this.set({ state: 'waiting' }, waiting)
    }
  }))
  let open = 0
  let inUse = 0
  let waiting = 0
  client.on('connectionReady', () => { open++ })
  client.on('connectionClosed', () => { open-- })
  client.on('connectionCheckOutStarted', () => { waiting++ })
  client.on('connectionCheckedOut', () => {
    waiting--
    inUse++
    open = Math.max(open, inUse) // connections that were there before this plugin are known when they are used
  })
  client.on('connectionCheckOutFailed', ({ reason }) => {
    waiting--
    unreachable.inc({ reason: reason === 'timeout' ? 'pool_timeout' : 'connection' })
  })
  client.on('connectionCheckedIn', () => { inUse-- })
  client.on('serverHeartbeatFailed', () => unreachable.inc({ reason: 'heartbeat' }))
  app.onDatabaseCommand((command, outcome, ms) => { observe(ms / 1000, command, outcome) })
}, { name: 'database-metrics', dependencies: ['mongo', 'metrics'] })
