import { execFile } from 'node:child_process'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import openapiTS, { astToString } from 'openapi-typescript'
import t from 'tap'
import { root } from './helpers/paths.js'
import { gif } from './helpers/small-pictures.js'
import { freshPhone } from './helpers/accounts.js'
import { startService } from './helpers/service.js'

const run = promisify(execFile)

/** A program against the generated types. If the document is wrong about a member, it does not compile. */
const program = `
import createClient from 'openapi-fetch'
import type { paths } from './hookaba.js'

const [baseUrl = '', token = '', number = ''] = process.argv.slice(2)
const client = createClient<paths>({ baseUrl, headers: { authorization: \`Bearer \${token}\` } })
const user = await client.POST('/users', { body: { username: 'generated', number } })
const id: string = user.data?.user_id ?? ''
const shown = await client.GET('/users/{id}', { params: { path: { id } } })
const name: string | undefined = shown.data?.username
const uploaded = await client.POST('/library/upload', {
  body: { file: '', user_id: 'generated' },
  bodySerializer: () => { const form = new FormData(); form.append('user_id', 'generated'); form.append('file', new Blob([Buffer.from('${gif.toString('base64')}', 'base64')]), 'a.gif'); return form }
})
const page = await client.GET('/library', { params: { query: { page: 1, per_page: 5 } } })
const total: number = page.data?.total ?? 0
const item = await client.GET('/library/{id}', { params: { path: { id: uploaded.data?.id ?? '' } } })
const panel: string | undefined = item.data?.renditions?.['64x64']?.url
const found = await client.GET('/library', { params: { query: { mine: true, type: 'gif', category: 'GIF' } } })
const next: string | null | undefined = found.data?.next_cursor
const offered = await client.POST('/library/uploads', { body: { content_type: 'image/gif', size: 5, user_id: 'generated', fit: 'cover' } })
const early = await client.POST('/library/uploads/{id}/complete', { params: { path: { id: offered.data?.id ?? '' } } })
const removed = await client.DELETE('/library/{id}', { params: { path: { id: item.data?.id ?? '' } } })
const refused = await client.GET('/users/{id}', { params: { path: { id: 'nobody' } } })
const sentence: string | undefined = refused.error?.error
const renamed = await client.PATCH('/users/me', { body: { username: 'renamed' } })
const admin: boolean | undefined = renamed.data?.admin
const devices = await client.GET('/auth/sessions')
const current: boolean | undefined = devices.data?.sessions[0]?.current
const verified = await client.POST('/auth/verify-otp', { body: { phone: number, otp: '000000', refresh: true } })
const verdict: boolean | undefined = verified.data?.success
const tokens: string = (verified.data?.access_token ?? '') + (verified.data?.refresh_token ?? '')
const out = await client.POST('/auth/logout')
console.log(JSON.stringify({ admin, current, verdict, tokens, out: out.response.status, name, url: uploaded.data?.url, listed: page.data?.items[0]?.url, total, sentence, panel, next, early: early.response.status, removed: removed.response.status }))
`

t.test('a client generated from openapi.json compiles in strict mode, and works', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'hookaba-client-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'), 'dir')
  await writeFile(
    join(folder, 'hookaba.d.ts'),
    astToString(await openapiTS(pathToFileURL(join(root, 'openapi.json'))))
  )
  await writeFile(join(folder, 'client.ts'), program)
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await run(
    process.execPath,
    [
      join(root, 'node_modules/typescript/bin/tsc'),
      '--strict',
      '--exactOptionalPropertyTypes',
      '--skipLibCheck',
      '--target',
      'es2022',
      '--module',
      'nodenext',
      '--types',
      'node',
      '--typeRoots',
      join(root, 'node_modules/@types'),
      '--outDir',
      folder,
      join(folder, 'client.ts')
    ]
  )

  const service = await startService(t)
  const { token, phone } = await service.signIn(freshPhone())
  const { stdout } = await run(process.execPath, [join(folder, 'client.js'), service.url, token, phone])
  const { name, url, listed, total, sentence, panel, ...others } = JSON.parse(stdout)
  t.same(others, {
    admin: false,
    current: true,
    verdict: false,
    tokens: '',
    out: 204,
    next: null,
    early: 409,
    removed: 204
  })
  t.match({ name, total, sentence }, { name: 'generated', total: 1, sentence: 'Invalid user id' })
  t.match(url, /^http.*\/original\.gif$/)
  t.equal(listed, url)
  t.equal(panel, url.replace('original.gif', '64x64.gif'))
})
