// Plays two agents of the vendor's generation with the vendor's own library: one exposes a local TCP service, the other
// reaches it. Usage: node agents.js HUB_URL API_KEY. Prints one line of JSON; exits 1 when anything is not as expected.
'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');
const net = require('node:net');
const { io } = require('socket.io-client');

const [hub, apiKey] = process.argv.slice(2);
const PATIENCE_MS = 120000;
const BYTES = 4 * 1024 * 1024;

async function post(path, body, headers = {}) {
  const response = await fetch(hub + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  assert.strictEqual(response.status, 201, `${path}: ${JSON.stringify(answer)}`);
  return answer;
}

async function register(label) {
  const agent = { agentId: crypto.randomUUID(), token: crypto.randomBytes(32).toString('hex') };
  await post('/v1/agents/register', { ...agent, label }, { 'x-api-key': apiKey });
  return agent;
}

function heard(socket, event, wanted = () => true) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} in time`)), PATIENCE_MS);
    socket.on(event, function listener(payload) {
      if (!wanted(payload)) return;
      clearTimeout(timer);
      socket.off(event, listener);
      resolve(payload);
    });
  });
}

async function connect(auth) {
  const socket = io(`${hub}/agent`, { transports: ['websocket'], auth, reconnection: false });
  const connected = await heard(socket, 'connected');
  assert.strictEqual(connected.message, 'Connected to hub');
  assert.ok(!Number.isNaN(Date.parse(connected.tokenExpiresAt)));
  return socket;
}

// The exposing agent: dials what it is told and carries bytes, as the vendor's does.
function serve(socket) {
  const targets = new Map();
  socket.on('dial', ({ connectionId, targetHost, targetPort }) => {
    const target = net.connect({ host: targetHost, port: targetPort });
    target.on('connect', () => {
      targets.set(connectionId, target);
      socket.emit('dial_success', { connectionId });
    });
    target.on('data', (data) => socket.emit('data', { connectionId, data: data.toString('base64') }));
    target.on('error', (error) => socket.emit('dial_error', { connectionId, error: error.message }));
    target.on('close', () => socket.emit('close', { connectionId }));
  });
  socket.on('data', ({ connectionId, data }) => targets.get(connectionId)?.write(Buffer.from(data, 'base64')));
  socket.on('close', ({ connectionId }) => targets.get(connectionId)?.end());
}

// One connection of the joining agent: sends `bytes`, gives back as many that came.
async function exchange(socket, serviceId, bytes) {
  const connectionId = crypto.randomUUID();
  const mine = (payload) => payload.connectionId === connectionId;
  const ready = heard(socket, 'reach_ready', mine);
  const reply = await socket.timeout(PATIENCE_MS).emitWithAck('reach_connect', { connectionId, serviceId });
  assert.deepStrictEqual(reply, { success: true, e2e: false });
  await ready;
  const chunks = [];
  let length = 0;
  const all = heard(socket, 'reach_data', (payload) => {
    if (!mine(payload)) return false;
    const chunk = Buffer.from(payload.data, 'base64');
    chunks.push(chunk);
    length += chunk.length;
    return length >= bytes.length;
  });
  for (let at = 0; at < bytes.length; at += 65536) {
    const data = bytes.subarray(at, at + 65536).toString('base64');
    socket.emit('reach_data', { connectionId, data });
  }
  await all;
  socket.emit('reach_close', { connectionId });
  return Buffer.concat(chunks);
}

async function main() {
  const echo = net.createServer((client) => client.pipe(client));
  await new Promise((resolve) => echo.listen(0, '127.0.0.1', resolve));
  const [exposing, joining] = [await register('exposing'), await register('joining')];
  const answer = await post('/v1/services/register', {
    agentId: exposing.agentId, name: 'echo', targetHost: '127.0.0.1', targetPort: echo.address().port, protocol: 'tcp',
  }, { 'x-api-key': apiKey });
  const service = answer.service;

  const exposer = await connect(exposing);
  serve(exposer);
  const { id: serviceId, tunnelPort, name: serviceName } = service;
  const exposed = await exposer.timeout(PATIENCE_MS).emitWithAck('expose', {
    serviceId, serviceName, tunnelPort, targetHost: '127.0.0.1', targetPort: echo.address().port,
  });
  assert.deepStrictEqual(exposed, { success: true });

  const share = (await post('/v1/env-shares', { expiresInHours: 1 }, {
    'x-api-key': apiKey, 'x-agent-id': exposing.agentId,
  })).share;
  const joined = await post(`/v1/env-shares/${share.code}/join`, { agentLabel: 'laptop' }, {
    'x-api-key': apiKey, 'x-agent-id': joining.agentId,
  });
  const route = joined.share.routes.find((one) => one.serviceName === 'echo');

  const joiner = await connect(joining);
  assert.deepStrictEqual(await joiner.timeout(PATIENCE_MS).emitWithAck('heartbeat'), { success: true });
  const bytes = crypto.randomBytes(BYTES);
  assert.ok((await exchange(joiner, route.serviceId, bytes)).equals(bytes), 'the bytes came back changed');

  await new Promise((resolve) => echo.close(resolve));
  const connectionId = crypto.randomUUID();
  const closed = heard(joiner, 'reach_close', (payload) => payload.connectionId === connectionId);
  await joiner.timeout(PATIENCE_MS).emitWithAck('reach_connect', { connectionId, serviceId });
  await closed;

  const wrong = io(`${hub}/agent`, {
    transports: ['websocket'], auth: { ...joining, token: '0'.repeat(64) }, reconnection: false, forceNew: true,
  });
  const [error] = await Promise.all([heard(wrong, 'error'), heard(wrong, 'disconnect')]);
  assert.strictEqual(error.code, 'INVALID_TOKEN');
  for (const socket of [exposer, joiner, wrong]) socket.close();
  console.log(JSON.stringify({ echoed: BYTES }));
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
