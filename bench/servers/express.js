/**
 * The service's endpoints by the usual packages: Express 5, mongoose, jsonwebtoken, zod, multer and sharp. An uploaded
 * file goes into memory, then into one PutObject, and its thumbnail beside it. IMAGES=off makes no thumbnail.
 */
import { randomInt, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import express from 'express'
import jwt from 'jsonwebtoken'
import mongoose from 'mongoose'
import multer from 'multer'
import sharp from 'sharp'
import { z } from 'zod'
import { serveParent } from '../harness/child.js'
import { present } from '../harness/library.js'
import { listen } from '../harness/listen.js'

const { MONGO_URI, JWT_SECRET_KEY, S3_ENDPOINT, S3_BUCKET, S3_REGION, IMAGES } = process.env
const base = `${S3_ENDPOINT}/${S3_BUCKET}`
const s3 = new S3Client({ endpoint: S3_ENDPOINT, region: S3_REGION, forcePathStyle: true })

const options = { autoCreate: false, versionKey: false }
const User = mongoose.model('User', new mongoose.Schema({
  username: String,
  number: { type: String, unique: true },
  created_on: Date,
  admin: { type: Boolean, default: false }
}, { ...options, collection: 'users' }))
const Item = mongoose.model('Item', new mongoose.Schema({
  key: String,
  owner: mongoose.Schema.Types.ObjectId,
  user_id: String,
  category: String,
  title: String,
  type: { type: String },
  content_type: String,
  size: Number,
  width: Number,
  height: Number,
  frames: Number,
  renditions: [{ _id: false, size: String, bytes: Number, frames: Number, duration_ms: Number }],
  created_at: { type: Date, default: Date.now }
}, { ...options, collection: 'library' }).index({ created_at: -1, _id: -1 }))
const Otp = mongoose.model('Otp', new mongoose.Schema({
  _id: String,
  code: String,
  at: Date
}, { ...options, collection: 'otps' }))
await mongoose.connect(MONGO_URI)
await Promise.all([User, Item, Otp].map(model => model.init()))

const phone = z.string().regex(/^\+?\d{6,15}$/)
const RequestOtp = z.object({ phone })
const VerifyOtp = z.object({ phone, otp: z.string() })
const Page = z.object({
  page: z.coerce.number().int().min(1).default(1),
  per_page: z.coerce.number().int().min(1).default(10).transform(value => Math.min(value, 100))
})
const Form = z.object({ user_id: z.string().min(1).max(255), category: z.string().max(255).optional() })

const app = express()
app.set('trust proxy', 'loopback')
app.disable('x-powered-by')

app.post('/auth/request-otp', express.json(), async (request, response) => {
  const { phone } = RequestOtp.parse(request.body)
  const code = String(randomInt(1_000_000)).padStart(6, '0')
  await Otp.updateOne({ _id: phone }, { $set: { code, at: new Date() } }, { upsert: true })
  response.json({ message: 'OTP sent' })
})

app.post('/auth/verify-otp', express.json(), async (request, response) => {
  const { phone, otp } = VerifyOtp.parse(request.body)
  const row = await Otp.findById(phone).lean()
  if (row?.code !== otp) return response.json({ success: false, message: 'Invalid OTP' })
  await Otp.deleteOne({ _id: phone })
  const { id } = await User.findOneAndUpdate({ number: phone }, { $setOnInsert: { created_on: new Date() } }, {
    upsert: true,
    returnDocument: 'after'
  })
  const token = jwt.sign({}, JWT_SECRET_KEY, { subject: id, expiresIn: '365d' })
  response.json({ success: true, message: 'OTP verified', access_token: token })
})

app.use((request, response, next) => {
  try {
    request.caller = jwt.verify(request.get('authorization')?.slice('Bearer '.length), JWT_SECRET_KEY, {
      algorithms: ['HS256']
    })
  } catch {
    return response.status(401).json({ error: 'Missing or bad token' })
  }
  next()
})

app.get('/users/:id', async ({ params: { id }, caller }, response) => {
  const wanted = id === 'me' ? caller.sub : id
  if (!mongoose.isValidObjectId(wanted)) return response.status(400).json({ error: 'Invalid user id' })
  const user = await User.findById(wanted).lean()
  if (!user) return response.status(404).json({ error: 'User not found' })
  const { _id, username, number, created_on: createdOn, admin = false } = user
  response.json({ _id, username, number, created_on: createdOn, admin })
})

app.get('/library', async (request, response) => {
  const { page, per_page: perPage } = Page.parse(request.query)
  const [total, rows] = await Promise.all([
    Item.countDocuments(),
    Item.find().sort({ created_at: -1, _id: -1 }).skip((page - 1) * perPage).limit(perPage).lean()
  ])
  response.json({
    items: rows.map(row => present(base, row)),
    page,
    per_page: perPage,
    total,
    total_pages: Math.ceil(total / perPage)
  })
})

const upload = multer({ storage: multer.memoryStorage() }).single('file')
app.post('/library/upload', upload, async ({ file, body, caller }, response) => {
  const { user_id: userId, category } = Form.parse(body)
  if (!file) return response.status(400).json({ error: 'No file part' })
  const folder = `library/${randomUUID()}`
  const facts = IMAGES === 'off' ? undefined : await sharp(file.buffer).metadata()
  const format = facts?.format ?? file.mimetype.split('/')[1]
  const thumbnail = facts && await sharp(file.buffer, { animated: true })
    .resize(64, 64, { fit: 'contain', background: '#000' })
    .toBuffer()
  const key = `${folder}/original.${format}`
  await put(key, file.buffer, file.mimetype)
  if (thumbnail) await put(`${folder}/64x64.${format}`, thumbnail, file.mimetype)
  const item = await Item.create({
    key,
    owner: caller.sub,
    user_id: userId,
    type: format === 'gif' ? 'gif' : 'image',
    category: category ?? (format === 'gif' ? 'GIF' : 'Images'),
    content_type: file.mimetype,
    size: file.size,
    width: facts?.width,
    height: facts?.height,
    frames: facts?.pages ?? 1,
    renditions: thumbnail ? [{ size: '64x64', bytes: thumbnail.length, frames: facts.pages ?? 1 }] : []
  })
  response.status(201).json({ message: 'File uploaded', id: item.id, url: `${base}/${key}` })
})

const put = (Key, Body, ContentType) => s3.send(new PutObjectCommand({ Bucket: S3_BUCKET, Key, Body, ContentType }))

app.use((error, request, response, next) => {
  if (error instanceof z.ZodError) return response.status(400).json({ errors: z.flattenError(error).fieldErrors })
  response.status(500).json({ error: 'Internal server error' })
})

serveParent({ url: await listen(createServer(app)) })
