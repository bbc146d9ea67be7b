/**
 * `node deploy/bundle.js FOLDER` writes the program for the image into a folder beside node_modules: without the
 * emulators, and with its packages in a few large files, because a start would otherwise read 1,400 small ones.
 */
import { join, resolve } from 'node:path'
import { build } from 'esbuild'
import { consoleBuild } from '../console/build.js'

/** These packages find their own files, or machine code, by their place in node_modules. */
const NOT_BUNDLED = ['sharp', '@fastify/swagger-ui', 'pino']

const outdir = resolve(process.argv[2])
await build({
  absWorkingDir: join(import.meta.dirname, '..'),
  // autoload finds plugins and routes as files, and a thread loads worker.js: these keep their places
  entryPoints: ['server.ts', 'cli/*.ts', 'plugins/*.ts', 'routes/**/*.ts', 'services/pictures/worker.ts'],
  outbase: '.',
  outdir,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  bundle: true,
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  external: [...NOT_BUNDLED, './packages/*'],
  // packages in CommonJS call `require`, which a module does not have
  banner: { js: "import { createRequire as forThis } from 'node:module'; const require = forThis(import.meta.url);" },
  sourcemap: true,
  sourcesContent: false,
  logLevel: 'warning'
})
await build({ ...consoleBuild, outdir: join(outdir, 'console') })
