// Gone as soon as test/routes imports faulty-setup.
import type { Test } from 'tap'
import { failureOf } from './answers.js'
import type { Reply } from './service.js'

export { quiet, startFaultySetup as faultBed } from './faulty-setup.js'

export function failed (t: Test, reply: Pick<Reply, 'status' | 'headers' | 'body'>, sentence: string): void {
  t.equal(failureOf(reply), sentence)
}
