import { ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { MongoClient } from 'mongodb'
import type { Test } from 'tap'
import { MAX_WAIT_MS } from '../../services/request-deadline.js'
import { SILENCE_MS } from '../../services/store/connection.js'
import { CLEANUP_WAIT_MS } from '../../services/uploads/upload-records.js'
import { eventually } from './wait.js'
import { foldersOf, UPLOAD_RECORDS, startService, type Service, type ServiceOptions } from './service.js'
import { s3Client, startServices, type Services } from './backends.js'
import { s3Proxy } from './s3-proxy.js'
import { mongoProxy, tcpProxy } from './tcp-proxy.js'

/** As in production: faults are what these tests are about. */
const LIMITS = { maxDatabaseWaitMs: MAX_WAIT_MS, storeSilenceMs: SILENCE_MS, cleanupWaitMs: CLEANUP_WAIT_MS }

export interface FaultySetup {
  s3: Awaited<ReturnType<typeof s3Proxy>>
  s3Wire: Awaited<ReturnType<typeof tcpProxy>>
  mongo: Awaited<ReturnType<typeof mongoProxy>>
  /** Connects to the database directly. */
  client: MongoClient
  appName: string
  throughProxies: Services
  /** The services without proxies. */
  services: Services
  start: (options?: ServiceOptions) => Promise<Service>
  empty: Left
  left: () => Promise<Left>
  /** Resolves once nothing is in progress and every object has its item. */
  settled: () => Promise<Left>
}

interface Left { objects: number, multipartUploads: number, uploads: number, library: number }

/** A service with proxies before its store and database, and direct access to both. */
export async function startFaultySetup (t: Test): Promise<FaultySetup> {
  const services = await startServices(t)
  const s3 = await s3Proxy({ endpoint: services.s3.endpoint })
  const s3Wire = await tcpProxy({ port: s3.port })
  const mongo = await mongoProxy(services.mongoUri)
  const appName = services.s3.bucket
  const client = await new MongoClient(services.mongoUri).connect()
  const direct = s3Client(services)
  t.teardown(async () => {
    s3.clear()
    await Promise.all([s3Wire.close(), s3.close(), mongo.close(), client.close()])
    direct.destroy()
  })
  const throughProxies = {
    mongoUri: `${mongo.uri}&appName=${appName}`,
    s3: { ...services.s3, endpoint: `http://127.0.0.1:${s3Wire.port}` }
  }
  const Bucket = services.s3.bucket

  const left = async (): Promise<Left> => {
    const { Contents = [] } = await direct.send(new ListObjectsV2Command({ Bucket }))
    const { Uploads = [] } = await direct.send(new ListMultipartUploadsCommand({ Bucket }))
    const [uploads, library] = await Promise.all([
      client.db().collection('uploads').countDocuments(UPLOAD_RECORDS),
      client.db().collection('library').countDocuments()
    ])
    return {
      objects: foldersOf(Contents.map(({ Key }) => Key!)).length,
      multipartUploads: Uploads.length,
      uploads,
      library
    }
  }
  return {
    s3,
    s3Wire,
    mongo,
    client,
    appName,
    throughProxies,
    services,
    start: options => startService(t, { ...LIMITS, ...options, services: throughProxies }),
    empty: { objects: 0, multipartUploads: 0, uploads: 0, library: 0 },
    left,
    settled: () => eventually(async () => {
      const now = await left()
      return now.uploads === 0 && now.multipartUploads === 0 && now.objects === now.library ? now : undefined
    })
  }
}

/** The remains; undefined while something is in progress. */
export async function quiet (service: Service): Promise<Awaited<ReturnType<Service['remains']>> | undefined> {
  const remains = await service.remains()
  return remains.uploads === 0 &&
    remains.multipartUploads.length === 0 &&
    foldersOf(remains.objects).length === remains.library
    ? remains
    : undefined
}
