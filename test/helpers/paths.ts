import { join } from 'node:path'

/** The root of the repository: npm and tap run every test there. */
export const root = process.cwd()

/** A program of the build, like `server.js`. `npm test` builds first. */
export const built = (program: string) => join(root, 'dist', program)

/** A file of test/cases/. */
export const caseFile = (name: string) => join(root, 'test/cases', name)
