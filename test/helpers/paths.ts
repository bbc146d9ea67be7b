import { join, resolve } from 'node:path'

/** The root of the repository: npm and tap run every test there. */
export const root = process.cwd()

/** A program of the build, like `server.js`, or one at an absolute path. `npm test` builds first. */
export const built = (program: string) => resolve(root, 'dist', program)

/** A file of test/cases/. */
export const caseFile = (name: string) => join(root, 'test/cases', name)
