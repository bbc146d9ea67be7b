import neostandard from 'neostandard'

/** Modules beside app.ts, which app.ts and plugins use. */
const BESIDE_APP = ['http-server', 'error-answers', 'response-serializers']

/** The program, and the module beside it that starts emulators. */
const PROCESS = ['server', 'backing-services']

/**
 * Data flows one way: schemas ← services ← plugins, routes ← app ← server, cli. The emulators and the console know
 * nothing of the app.
 */
const mayNotImport = {
  schemas: ['services', 'plugins', 'routes', 'packages', 'app', ...BESIDE_APP, ...PROCESS, 'cli'],
  services: ['plugins', 'routes', 'packages', 'app', ...BESIDE_APP, ...PROCESS, 'cli'],
  plugins: ['plugins', 'routes', 'packages', 'app', ...PROCESS, 'cli'],
  routes: ['routes', 'plugins', 'packages', 'app', ...BESIDE_APP, ...PROCESS, 'cli'],
  cli: ['plugins', 'routes', 'app', ...BESIDE_APP, ...PROCESS],
  // it acts as a client of the app
  'cli/demo': ['plugins', 'routes', ...BESIDE_APP, 'server'],
  packages: ['schemas', 'services', 'plugins', 'routes', 'app', ...BESIDE_APP, ...PROCESS, 'cli'],
  console: ['schemas', 'services', 'plugins', 'routes', 'packages', 'app', ...BESIDE_APP, ...PROCESS, 'cli']
}

/**
 * The rooms of services/, and the rooms that each may import. Each may import the files that lie in services/ itself.
 */
const ROOMS = {
  login: ['sms'],
  sms: [],
  sessions: [],
  users: ['sessions'],
  library: [],
  uploads: ['library', 'pictures', 'store'],
  pictures: [],
  store: [],
  migration: ['users', 'library'],
  idempotency: []
}

const patternsOf = folder => [
  {
    regex: `^(\\.\\./)${folder === 'packages' ? '{2,}' : '+'}(${mayNotImport[folder].join('|')})(/|\\.js$)`,
    message: `${folder}/ may not import that: see the import direction in CONTRIBUTING.md.`
  },
  ...(folder === 'plugins' || folder === 'routes'
    ? [{
        regex: '^(\\./|(\\.\\./)+(?!\\.\\./|(schemas|services|http-server|error-answers)[/.]))',
        message: `${folder}/ do not import each other: they meet in decorators.`
      }]
    : []),
  ...(folder === 'services' || folder === 'packages'
    ? [{ regex: '^(fastify$|fastify-plugin|@fastify/(?!busboy))', message: `${folder}/ knows no Fastify.` }]
    : []),
  ...(folder === 'schemas' || folder === 'packages'
    ? []
    : [{ regex: '^@sinclair/typebox', message: 'Schemas are written in schemas/.' }])
]
const restrict = (files, patterns) => ({ files, rules: { 'no-restricted-imports': ['error', { patterns }] } })
const forbid = (rooms, message) => rooms.length === 0
  ? []
  : [{ regex: `^(\\./|(\\.\\./)+)(services/)?(${rooms.join('|')})/`, message }]

const importDirection = [
  ...Object.keys(mayNotImport).map(folder => restrict([`${folder}/**/*.ts`], patternsOf(folder))),
  restrict(BESIDE_APP.map(name => `${name}.ts`), [{
    regex: '^\\./((plugins|routes|packages|cli)/|(app|server|backing-services)\\.js$)',
    message: 'A module beside app.ts knows neither the app nor its parts.'
  }]),
  restrict(
    ['services/*.ts'],
    [...patternsOf('services'), ...forbid(Object.keys(ROOMS), 'What every room uses knows no room.')]
  ),
  ...Object.entries(ROOMS).map(([room, others]) => restrict([`services/${room}/**/*.ts`], [
    ...patternsOf('services'),
    ...forbid(
      Object.keys(ROOMS).filter(other => other !== room && !others.includes(other)),
      `services/${room}/ may not import that room: see ROOMS in eslint.config.js.`
    )
  ]))
]

export default [
  ...neostandard({ ts: true, ignores: ['dist', 'dist.*', '.builds', '.coverage', '.tap', 'node_modules', '.data', 'console/openapi.d.ts'] }),
  {
    files: ['**/*.ts'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-redeclare': 'off',
      '@typescript-eslint/no-shadow': 'off',
      '@stylistic/object-property-newline': ['error', { allowAllPropertiesOnSameLine: true }]
    }
  },
  {
    // a sentence, an address or a pattern stays in one piece
    rules: {
      '@stylistic/max-len': [
        'error',
        { code: 120, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true, ignoreUrls: true }
      ]
    }
  },
  {
    files: ['{services,plugins,routes,cli}/**/*.ts', '*.ts'],
    rules: {
      'no-restricted-syntax': ['error', {
        selector: 'CallExpression[callee.property.name=/^(warn|error)$/][arguments.length=1] > ObjectExpression',
        message: 'A warning or an error in the log needs a sentence for the operator.'
      }]
    }
  },
  ...importDirection
]
