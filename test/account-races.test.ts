import t from 'tap'
import { raceAccounts } from './helpers/account-races.js'

const { TEST_REAL, TEST_LONG } = process.env
const rounds = TEST_LONG ? 1000 : TEST_REAL ? 3 : 10

t.setTimeout(300_000 + rounds * 10_000)
await raceAccounts(t, rounds)
