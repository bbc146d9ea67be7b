/** The lowest cost of an upload in JavaScript: the form is parsed, its file hashed, and nothing kept. */
import { createHash } from 'node:crypto'
import { formServer } from './form-server.js'

await formServer(async file => {
  const hash = createHash('sha256')
  for await (const chunk of file) hash.update(chunk)
  hash.digest('hex')
})
