import t from 'tap'
import { raw } from './helpers/raw-http.js'
import { startService } from './helpers/service.js'

const FILES = {
  '/': 'text/html; charset=utf-8',
  '/index.html': 'text/html; charset=utf-8',
  '/console.js': 'application/javascript; charset=utf-8',
  '/console.css': 'text/css; charset=utf-8',
  '/icon.svg': 'image/svg+xml'
}
const production = { NODE_ENV: 'production', SMS_CONSOLE_IN_PRODUCTION: 'true', SMS_PROVIDER: 'console' }

t.test('the console', async t => {
  const service = await startService(t, { env: { S3_PUBLIC_URL: 'https://media.example.com/pictures' } })
  const get = (path: string, headers = {}) => raw(service, { method: 'GET', path, headers })

  t.test('GET / serves the page and its files without a token', async t => {
    for (const [path, type] of Object.entries(FILES)) {
      t.match(await get(path), { status: 200, headers: { 'content-type': type } }, path)
      t.match(await raw(service, { method: 'HEAD', path }), { status: 200, text: '' }, `HEAD ${path}`)
    }
    t.match((await get('/')).text, '<title>Hookaba</title>')
    t.equal((await get('/?q=1')).text, (await get('/')).text)
  })

  t.test('its policy lets the page load its own files and the pictures of the store, and run nothing inline', async t => {
    for (const path of Object.keys(FILES)) {
      const { headers } = await get(path)
      t.equal(headers['content-security-policy'], [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        `img-src 'self' ${service.app.mediaStore.urlsOf('').join(' ')}`,
        "connect-src 'self' https://media.example.com/pictures/",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'"
      ].join('; '), path)
      t.match(headers, { 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' })
    }
    t.equal(service.app.mediaStore.urlsOf('')[0], 'https://media.example.com/pictures/')
    t.notMatch((await get('/')).text, /<script(?![^>]* src=)|<style|\son\w+=|\sstyle=/, 'no inline script or style')
    t.match((await get('/health/live')).headers['content-security-policy'], /^default-src 'none';frame-ancestors 'none'$/)
  })

  t.test('a browser asks again each time, and is answered 304 while nothing has changed', async t => {
    for (const path of Object.keys(FILES)) {
      const { headers } = await get(path)
      t.match(headers, { 'cache-control': 'no-cache', etag: /^W\/"/ }, path)
      const again = await get(path, { 'if-none-match': headers.etag })
      t.match(again, { status: 304, text: '', headers: { 'cache-control': 'no-cache' } }, path)
    }
  })

  t.test('no other path is served, and unknown paths and methods are answered as everywhere', async t => {
    for (const path of [
      '/package.json', '/..%2fpackage.json', '/..%2f', '/%2e%2e/package.json', '/../package.json', '/..\\package.json',
      '/.%00', '/server.js', '/console/console.js', '/console.ts', '/console.js.map', '/README.md', '/openapi.d.ts',
      '/index.html/', '/console.js/..%2f..%2fserver.js', '//', '//index.html', '/Index.html', '/console%2ejs/'
    ]) {
      t.match(await get(path), { status: 404, body: { error: 'Not found' } }, path)
    }
    for (const path of Object.keys(FILES)) {
      t.match(await raw(service, { method: 'POST', path }), {
        status: 405,
        headers: { allow: 'GET, HEAD' },
        body: { error: 'Method not allowed' }
      }, path)
    }
  })

  t.test('the OpenAPI document does not list it', async t => {
    const { paths } = (await get('/openapi.json')).body as { paths: object }
    t.same(Object.keys(FILES).filter(path => path in paths), [])
  })
})

t.test('CONSOLE and DOCS decide what GET / answers', async t => {
  const notFound = { status: 404, body: { error: 'Not found' } }
  const page = { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } }
  const toDocs = { status: 302, headers: { location: 'docs/' } }
  const settings: Array<[title: string, env: Record<string, string>, answer: object]> = [
    ['without DOCS there is nothing', { DOCS: 'false' }, notFound],
    ['without CONSOLE it leads to /docs', { CONSOLE: 'false' }, toDocs],
    ['with neither there is nothing', { DOCS: 'false', CONSOLE: 'false' }, notFound],
    ['CONSOLE needs no DOCS', { DOCS: 'false', CONSOLE: 'true' }, page],
    ['production serves nothing by itself', production, notFound],
    ['production serves the console where it is set', { ...production, CONSOLE: 'true' }, page],
    ['production serves the console where DOCS is set', { ...production, DOCS: 'true' }, page]
  ]
  const { services } = await startService(t)
  for (const [title, env, answer] of settings) {
    const service = await startService(t, { env, services })
    t.match(await raw(service, { method: 'GET', path: '/' }), answer, title)
    const isThere = answer === page
    t.equal((await raw(service, { method: 'GET', path: '/console.js' })).status, isThere ? 200 : 404, title)
  }
  const { url } = await startService(t, { env: { CONSOLE: 'false' }, services })
  const { status, url: end } = await fetch(`${url}/`)
  t.same({ status, end }, { status: 200, end: `${url}/docs/` })
})
