// Runs clients of LaunchDarkly's Node SDK over its Redis and DynamoDB stores, as told on the standard input.
// ../README.md has the protocol.
//
// The DynamoDB store on npm belongs to the SDK's major version 6, so that one has the older client.
'use strict';

const readline = require('node:readline');
const redisSdk = require('@launchdarkly/node-server-sdk');
const redisStores = require('@launchdarkly/node-server-sdk-redis');
const dynamoSdk = require('launchdarkly-node-server-sdk');
const dynamoStores = require('launchdarkly-node-server-sdk-dynamodb');

const clients = new Map();

function redisOptions({ url, prefix }) {
  const { hostname, port } = new URL(url);
  return { redisOpts: { host: hostname, port: Number(port) }, prefix, cacheTTL: 0 };
}

function dynamoOptions({ url, prefix }) {
  const credentials = { accessKeyId: 'dummy', secretAccessKey: 'dummy' };
  return { clientOptions: { endpoint: url, region: 'us-east-1', ...credentials }, prefix, cacheTTL: 0 };
}

async function open(wanted) {
  const redis = wanted.store === 'redis';
  const { init, basicLogger } = redis ? redisSdk : dynamoSdk;
  const options = redis ? redisOptions(wanted) : dynamoOptions(wanted);
  const featureStore = redis
    ? redisStores.RedisFeatureStore(options)
    : dynamoStores.DynamoDBFeatureStore(wanted.table, options);
  const store = redis
    ? redisStores.RedisBigSegmentStore(options)
    : dynamoStores.DynamoDBBigSegmentStore(wanted.table, options);
  const client = init('sdk-key', {
    featureStore,
    bigSegments: { store },
    sendEvents: false,
    diagnosticOptOut: true,
    // It would log every flag that it is asked for and does not know.
    logger: basicLogger({ level: 'none' }),
    ...(wanted.stream === null
      ? { useLdd: true }
      : { streamUri: wanted.stream, baseUri: wanted.stream, eventsUri: wanted.stream }),
  });
  await client.waitForInitialization({ timeout: 30 });
  clients.set(wanted.id, client);
  return {};
}

async function evaluate({ id, flags, user }) {
  const client = clients.get(id);
  const context = { kind: 'user', key: user };
  const results = {};
  for (const flag of flags) {
    const { value, reason } = await client.variationDetail(flag, context, null);
    results[flag] = { value, error: reason.errorKind, bigSegments: reason.bigSegmentsStatus };
  }
  const state = await client.allFlagsState(context);
  return { results, all: state.allValues() };
}

async function close(id) {
  clients.get(id).close();
  clients.delete(id);
  return {};
}

function versions() {
  const version = (name) => require(`./node_modules/${name}/package.json`).version;
  return (
    `SDK ${version('@launchdarkly/node-server-sdk')} with Redis store ` +
    `${version('@launchdarkly/node-server-sdk-redis')}, SDK ${version('launchdarkly-node-server-sdk')} with ` +
    `DynamoDB store ${version('launchdarkly-node-server-sdk-dynamodb')}`
  );
}

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

async function main() {
  say({ versions: versions() });
  const handlers = { open, evaluate, close };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [[what, wanted]] = Object.entries(JSON.parse(line));
    say(await handlers[what](wanted).catch((error) => ({ error: String(error) })));
  }
  process.exit(0);
}

main();
