// Gone as soon as test/routes imports the two.
export * from './s3-proxy.js'
export * from './tcp-proxy.js'
