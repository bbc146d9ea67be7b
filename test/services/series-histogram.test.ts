import { Histogram, Registry } from 'prom-client'
import fc from 'fast-check'
import t from 'tap'
import { createSeriesHistogram } from '../../services/series-histogram.js'

const about = { name: 'request_seconds', help: 'Requests', labelNames: ['route', 'status'], buckets: [0.01, 0.1, 1] }
const observations = fc.array(fc.tuple(
  fc.constantFrom(-1, 0, 0.01, 0.011, 0.1, 0.5, 1, 1.5, 1000),
  fc.constantFrom('/', '/users/:id', 'a "quoted"\nroute'),
  fc.constantFrom(200, 404)
))

t.test('A series histogram is shown exactly as one of prom-client', async t => {
  await fc.assert(fc.asyncProperty(observations, async observed => {
    const [registry, reference] = [new Registry(), new Registry()]
    const observe = createSeriesHistogram({ ...about, registry })
    const histogram = new Histogram({ ...about, registers: [reference] })
    for (const [seconds, route, status] of observed) {
      observe(seconds, route, status)
      histogram.observe({ route, status }, seconds)
    }
    return await registry.metrics() === await reference.metrics()
  }))
  t.pass('for random observations')
})
