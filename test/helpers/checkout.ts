/** Folders like a checkout of this project, which a test may change. */
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { root } from './paths.js'
import { temporaryFolder } from './server-process.js'

/** Tiny sources, which take no time to build, under the real `build.js` and the real scripts of `package.json`. */
export async function tinyCheckout (t: Test): Promise<string> {
  const folder = await temporaryFolder(t)
  await cp(join(root, 'build.js'), join(folder, 'build.js'))
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { scripts: object }
  await writeFile(join(folder, 'package.json'), JSON.stringify({ type: 'module', scripts }))
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  for (const name of ['cli', 'plugins', 'routes', 'services', 'schemas', 'packages']) {
    await mkdir(join(folder, name))
    await writeFile(join(folder, name, 'empty.ts'), 'export {}\n')
  }
  for (const name of await readdir(root)) {
    if (name.endsWith('.ts')) await writeFile(join(folder, name), 'export {}\n')
  }
  await cp(join(root, 'console'), join(folder, 'console'), { recursive: true })
  await writeFile(join(folder, 'app.ts'), 'export const version: number = 1\n')
  return folder
}
