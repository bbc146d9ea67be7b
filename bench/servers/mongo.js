/** The emulator for MongoDB in a process of its own. Its data is removed when it ends. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startMongo } from '../../dist/packages/mongo-emulator/server.js'
import { serveParent } from '../harness/child.js'

const path = mkdtempSync(join(tmpdir(), 'hookaba-bench-'))
process.on('exit', () => rmSync(path, { recursive: true, force: true }))
const { uri } = await startMongo({ path })
serveParent({ uri })
