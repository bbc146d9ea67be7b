import neostandard from 'neostandard'

/** Data flows one way: schemas ← services ← plugins, routes ← app ← server. The stand-ins know nothing of the app. */
const mayNotImport = {
  schemas: ['services', 'plugins', 'routes', 'embedded', 'app', 'server', 'migrate', 'check-library'],
  services: ['plugins', 'routes', 'embedded', 'app', 'server', 'migrate', 'check-library'],
  plugins: ['routes', 'embedded', 'app', 'server', 'migrate', 'check-library'],
  routes: ['plugins', 'embedded', 'app', 'server', 'migrate', 'check-library'],
  embedded: ['schemas', 'services', 'plugins', 'routes', 'app', 'server', 'migrate', 'check-library']
}

const importDirection = Object.entries(mayNotImport).map(([folder, others]) => ({
  files: [`${folder}/**/*.ts`],
  rules: {
    'no-restricted-imports': ['error', {
      patterns: [
        { regex: `^(\\.\\./)+(${others.join('|')})(/|\\.js$)`, message: `${folder}/ may not import that: see the import direction in CONTRIBUTING.md.` },
        ...(folder === 'services' || folder === 'embedded' ? [{ regex: '^(fastify$|fastify-plugin|@fastify/(?!busboy))', message: `${folder}/ knows no Fastify.` }] : []),
        ...(folder === 'schemas' || folder === 'embedded' ? [] : [{ regex: '^@sinclair/typebox', message: 'Schemas are written in schemas/.' }])
      ]
    }]
  }
}))

export default [
  ...neostandard({ ts: true, ignores: ['dist', '.builds', '.tap', 'node_modules', '.data'] }),
  {
    files: ['**/*.ts'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-redeclare': 'off',
      '@typescript-eslint/no-shadow': 'off',
      '@stylistic/object-property-newline': ['error', { allowAllPropertiesOnSameLine: true }]
    }
  },
  ...importDirection
]
