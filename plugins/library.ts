import fp from 'fastify-plugin'
import type { LibraryDocument } from '../schemas/documents.js'
import { CONSISTENT } from '../services/database.js'
import { createItemDeletion } from '../services/library/delete-item.js'
import { createItemEdit } from '../services/library/edit-item.js'
import { createLibrary } from '../services/library/library.js'
import { createLibraryState } from '../services/library/state.js'
import { createTotalCheck, type TotalCheckOptions } from '../services/library/total-check.js'
import { HIDDEN_ITEMS } from '../services/library/view.js'
import { packageVersion } from '../services/package-version.js'

declare module 'fastify' {
  interface FastifyInstance {
    library: ReturnType<typeof createLibrary> &
      ReturnType<typeof createItemEdit> &
      ReturnType<typeof createItemDeletion> & {
      /** Corrects the total. The holder of the sweeper's lease calls it. */
        checkTotal: ReturnType<typeof createTotalCheck>['run']
      }
  }
}

/** Milliseconds. A count of all items may take longer than a request would wait, but less than a sweeper's lease. */
const COUNT_TIMEOUT_MS = 50_000

/** `app.library`: the items, in pages and one by one. */
export default fp(async function library (app) {
  const { collections, config, database, mediaStore: media, roles, now, log } = app
  const states = createLibraryState(collections.library_state)
  await states.read()
  const totalCheck = createTotalCheck({ states, countAll, log })
  const { isAdmin } = roles
  const library = createLibrary({
    db: database,
    library: collections.library,
    states,
    media,
    isAdmin,
    release: packageVersion,
    urlRendition: config.LIBRARY_URL_RENDITION
  })
  app.decorate('library', {
    ...library,
    ...createItemEdit({ library: collections.library, isAdmin, toItem: library.toItem }),
    ...createItemDeletion({ ...collections, states, media, isAdmin, now }),
    checkTotal: totalCheck.run
  })

  /** Two counts by indexes: the whole is valid if nothing is written meanwhile. */
  function countAll (): ReturnType<TotalCheckOptions['countAll']> {
    return app.withDedicatedConnection(COUNT_TIMEOUT_MS, async db => {
      const items = db.collection<LibraryDocument>('library', CONSISTENT)
      const hidden = await items.countDocuments(HIDDEN_ITEMS)
      return { shown: await items.countDocuments({}, { hint: { _id: 1 } }) - hidden, hidden }
    })
  }
}, { name: 'library', dependencies: ['env', 'clock', 'mongo', 's3', 'roles'] })
