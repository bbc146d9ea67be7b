/** Express 5 and multer as in most tutorials: the file goes into memory, then into one PutObject. */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import express from 'express'
import multer from 'multer'
import { serveParent } from '../harness/child.js'
import { listen } from '../harness/listen.js'

const s3 = new S3Client({ endpoint: process.env.S3_ENDPOINT, region: 'us-east-1', forcePathStyle: true })
const app = express()

app.post('/library/upload', multer({ storage: multer.memoryStorage() }).single('file'), async ({ file }, response) => {
  await s3.send(new PutObjectCommand({
    Bucket: 'bench',
    Key: randomUUID(),
    Body: file.buffer,
    ContentType: file.mimetype
  }))
  response.status(201).json({ message: 'File uploaded' })
})

serveParent({ url: await listen(createServer(app)) })
