import t from 'tap'
import { addressesOf } from '../../../services/store/addresses.js'

const bucket = { S3_BUCKET: 'media', S3_REGION: 'ap-south-1', S3_FORCE_PATH_STYLE: undefined }
const config = (more: object) => ({ ...bucket, S3_ENDPOINT: undefined, S3_PUBLIC_URL: undefined, ...more })

t.test('The first address of a bucket is the one that items get', async t => {
  for (const { more, address } of [
    { more: {}, address: 'https://media.s3.ap-south-1.amazonaws.com' },
    { more: { S3_PUBLIC_URL: 'https://cdn.example.com/' }, address: 'https://cdn.example.com' },
    { more: { S3_ENDPOINT: 'http://127.0.0.1:9000/' }, address: 'http://127.0.0.1:9000/media' },
    {
      more: { S3_ENDPOINT: 'https://store.example.com', S3_FORCE_PATH_STYLE: false },
      address: 'https://media.store.example.com'
    }
  ]) {
    t.equal(addressesOf(config(more))[0], address)
  }
})

t.test('Rows of the replaced system may have each host name that AWS gives to the bucket', async t => {
  for (const more of [{}, { S3_PUBLIC_URL: 'https://cdn.example.com' }, { S3_ENDPOINT: 'https://s3.amazonaws.com' }]) {
    const addresses = addressesOf(config(more))
    for (const address of [
      'https://media.s3.amazonaws.com', 'https://media.s3.ap-south-1.amazonaws.com',
      'https://media.s3-ap-south-1.amazonaws.com', 'https://s3.amazonaws.com/media',
      'https://s3.ap-south-1.amazonaws.com/media',
      'https://s3-ap-south-1.amazonaws.com/media', 'http://media.s3.amazonaws.com'
    ]) {
      t.ok(addresses.includes(address), address)
    }
    t.equal(new Set(addresses).size, addresses.length)
  }
})

t.test('A store that is not at AWS has no address there', async t => {
  t.same(addressesOf(config({ S3_ENDPOINT: 'https://store.example.com', S3_PUBLIC_URL: 'https://cdn.example.com' })), [
    'https://cdn.example.com', 'https://store.example.com/media', 'https://media.store.example.com'
  ])
})
