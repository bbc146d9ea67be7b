/** How esbuild makes the files of the console, for build.js and for the image. */
import { join } from 'node:path'

export const consoleBuild = {
  absWorkingDir: join(import.meta.dirname, '..'),
  entryPoints: ['console.ts', 'console.css', 'index.html', 'icon.svg'].map(name => `console/${name}`),
  loader: { '.html': 'copy', '.svg': 'copy' },
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  bundle: true,
  minify: true,
  tsconfigRaw: {}, // tsconfig.json is for the type check, and an image may leave it out
  logLevel: 'warning'
}
