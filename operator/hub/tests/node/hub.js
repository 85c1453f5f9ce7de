// A hub for tests, in memory, on the same server library as the vendor's hub and with the same habits: it drops bytes
// that arrive before a bridge is ready, knows no half-close, cuts nothing when a share ends, lets any workspace join,
// and loses an agent when either of its two sockets leaves. The wire contract says what each answer looks like.
//
//   node hub.js [port] [--no-relay]
//
// prints {"url":"http://127.0.0.1:PORT"} once it listens; ends with its standard input. As newer hubs of the vendor do, it
// relays what its agents say to each other about encryption; with --no-relay, as older ones do, it does not.
//
// Limits of the vendor can be set lower by the environment: HUB_MAX_SERVICES for each workspace, as its plans do,
// HUB_MAX_HOURS, above which it makes no share, and HUB_LONGEST_SECONDS, after which every share has ended, whatever it was asked
// for. HUB_CLOCK names a file with the seconds by which its clock is ahead.
//
// It differs in one thing: no TCP listeners on tunnel ports, so that many hubs can run side by side.
'use strict'

const crypto = require('node:crypto')
const fs = require('node:fs')
const http = require('node:http')
const { Server } = require('socket.io')

const API_KEY = /^pc_[0-9a-f]{48}$/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const CODE_ALPHABET = 'abcdefghjkmnpqrstuvwxyz23456789'
const CODE_LENGTH = 6
const FIRST_TUNNEL_PORT = 23000
const LAST_TUNNEL_PORT = 23999
const TOKEN_LIFE_MS = 30 * 24 * 3600 * 1000
const HOUR_MS = 3600 * 1000
const DIAL_TIMEOUT_MS = 10_000
const MAX_SERVICES = Number(process.env.HUB_MAX_SERVICES ?? 1000)
const LONGEST_MS = Number(process.env.HUB_LONGEST_SECONDS ?? 168 * 3600) * 1000
const MAX_HOURS = Number(process.env.HUB_MAX_HOURS ?? 168)
const MAX_BODY_BYTES = 100 * 1024
const RELAYS = !process.argv.includes('--no-relay')

const agents = new Map() // id -> {id, token, label, name, workspace, createdAt, tokenExpiresAt, socket}
const services = new Map() // id -> service row
const shares = new Map() // code -> share
const bridges = new Map() // connection id -> {joiner, exposer, ready, timer}
let nextTunnelPort = FIRST_TUNNEL_PORT

class Refusal extends Error {
  constructor (status, message, error) {
    super(message)
    this.status = status
    this.body = error ? { message, error, statusCode: status } : { statusCode: status, message }
  }
}

const clock = () => Date.now() + (process.env.HUB_CLOCK ? Number(fs.readFileSync(process.env.HUB_CLOCK, 'utf8')) * 1000 : 0)
const now = () => new Date(clock()).toISOString()
const after = ms => new Date(clock() + ms).toISOString()

// --- validation, with the texts of the vendor's validator

function issue (path, code, message, more = {}) {
  return { code, ...more, message, path: [path] }
}

function check (issues) {
  const found = issues.filter(Boolean)
  if (found.length > 0) throw new Refusal(400, JSON.stringify(found, null, 2))
}

function atLeast (path, value, minimum) {
  return value < minimum && issue(path, 'too_small', `Number must be greater than or equal to ${minimum}`, { minimum, type: 'number', inclusive: true, exact: false })
}

function atMost (path, value, maximum) {
  return value > maximum && issue(path, 'too_big', `Number must be less than or equal to ${maximum}`, { maximum, type: 'number', inclusive: true, exact: false })
}

function uuid (path, value) {
  return !UUID.test(value ?? '') && issue(path, 'invalid_string', 'Invalid uuid', { validation: 'uuid' })
}

function token (path, value) {
  return !(typeof value === 'string' && value.length >= 32) &&
    issue(path, 'too_small', 'String must contain at least 32 character(s)', { minimum: 32, type: 'string', inclusive: true, exact: false })
}

function shortText (path, value) {
  return typeof value === 'string' && value.length > 100 &&
    issue(path, 'too_big', 'String must contain at most 100 character(s)', { maximum: 100, type: 'string', inclusive: true, exact: false })
}

// --- who is asking

function workspaceOf (request) {
  const key = request.headers['x-api-key']
  if (!key) throw new Refusal(401, 'Missing API key', 'Unauthorized')
  if (!API_KEY.test(key)) throw new Refusal(401, 'Invalid API key', 'Unauthorized')
  return key
}

function creatorOf (request) {
  const key = request.headers['x-api-key']
  const id = request.headers['x-agent-id']
  if (!key || !id) throw new Refusal(500, 'Internal server error')
  const agent = agents.get(id)
  if (!API_KEY.test(key) || !agent || agent.workspace !== key) throw new Refusal(401, 'Unauthorized')
  return agent
}

function proven ({ agentId, token }) {
  const agent = agents.get(agentId)
  return agent && agent.token === token ? agent : undefined
}

// --- HTTP

const routes = [
  ['GET', /^\/health$/, () => ({ status: 'ok', timestamp: now() })],

  ['POST', /^\/v1\/agents\/register$/, (request, body) => {
    const workspace = workspaceOf(request)
    check([uuid('agentId', body.agentId), token('token', body.token)])
    let agent = agents.get(body.agentId)
    if (!agent) {
      agent = { id: body.agentId, token: body.token, workspace, name: null, label: 'default', createdAt: now(), tokenExpiresAt: after(TOKEN_LIFE_MS) }
      agents.set(agent.id, agent)
    }
    agent.name = body.name ?? agent.name
    agent.label = body.label ?? agent.label
    const { id, name, label, createdAt } = agent
    return { success: true, agent: { id, name, label, workspaceId: agent.workspace.slice(0, 11), createdAt } }
  }],

  ['POST', /^\/v1\/agents\/heartbeat$/, (request, body) => {
    check([uuid('agentId', body.agentId), token('token', body.token)])
    if (!proven(body)) throw new Refusal(401, 'Invalid credentials')
    return { success: true }
  }],

  ['POST', /^\/v1\/agents\/rotate-token$/, (request, body) => {
    const agent = agents.get(body.agentId)
    if (!agent) throw new Refusal(401, 'Agent not found')
    if (agent.token !== body.currentToken) throw new Refusal(401, 'Invalid current token')
    agent.token = crypto.randomBytes(32).toString('hex')
    agent.tokenExpiresAt = after(TOKEN_LIFE_MS)
    return { success: true, newToken: agent.token, expiresAt: agent.tokenExpiresAt }
  }],

  ['GET', /^\/v1\/workspace$/, request => {
    const workspace = workspaceOf(request)
    const own = [...services.values()].filter(service => service.workspace === workspace)
    return {
      workspace: { id: workspace.slice(0, 11), name: 'lab', plan: 'PRO' },
      usage: { services: own.length, agents: [...agents.values()].filter(agent => agent.workspace === workspace).length },
      limits: { maxServices: MAX_SERVICES, diagnosticHistoryLimit: 1000 },
      canAddService: true
    }
  }],

  ['POST', /^\/v1\/services\/register$/, (request, body) => {
    const workspace = workspaceOf(request)
    check([uuid('agentId', body.agentId), shortText('name', body.name), atLeast('targetPort', body.targetPort, 1), atMost('targetPort', body.targetPort, 65535)])
    if (!agents.has(body.agentId)) throw new Refusal(400, 'Foreign key constraint failed on the field: `agentId`')
    let service = [...services.values()].find(row => row.workspace === workspace && row.name === body.name)
    if (!service) {
      const own = [...services.values()].filter(row => row.workspace === workspace)
      if (own.length >= MAX_SERVICES) throw new Refusal(402, 'Service limit reached. Upgrade to PRO for more services.')
      if (nextTunnelPort > LAST_TUNNEL_PORT) throw new Refusal(400, 'No available tunnel ports')
      service = { id: crypto.randomUUID(), workspace, name: body.name, tunnelPort: nextTunnelPort++, createdAt: now() }
      services.set(service.id, service)
    }
    Object.assign(service, { agentId: body.agentId, targetHost: body.targetHost, targetPort: body.targetPort, protocol: body.protocol ?? 'auto', isPublic: body.isPublic ?? false })
    const { id, name, tunnelPort, protocol, isPublic } = service
    return { success: true, service: { id, name, tunnelPort, status: 'UNKNOWN', protocol, isPublic, publicUrl: null } }
  }],

  ['GET', /^\/v1\/services$/, request => {
    const workspace = workspaceOf(request)
    return [...services.values()].filter(service => service.workspace === workspace).reverse()
      .map(({ workspace, ...row }) => ({ ...row, workspaceId: workspace.slice(0, 11), status: 'UNKNOWN', isExternal: false, publicSubdomain: null, lastCheckedAt: null, agent: null, diagnostics: [] }))
  }],

  ['POST', /^\/v1\/env-shares$/, (request, body) => {
    const agent = creatorOf(request)
    const hours = body.expiresInHours ?? 24
    check([shortText('name', body.name), atLeast('expiresInHours', hours, 1), atMost('expiresInHours', hours, MAX_HOURS)])
    const chosen = body.routes?.length > 0 ? body.routes : snapshot(agent.workspace)
    if (chosen.length === 0) throw new Refusal(400, 'No services to share. Expose some services first.')
    const share = { code: makeCode(), name: body.name ?? null, creator: agent.id, createdAt: now(), expiresAt: after(Math.min(Math.trunc(hours) * HOUR_MS, LONGEST_MS)), joins: [], routes: chosen }
    shares.set(share.code, share)
    const told = chosen.map(({ serviceName, targetHost, targetPort, localPort, protocol = 'auto' }) => ({ serviceName, targetHost, targetPort, localPort, protocol }))
    return { success: true, share: { code: share.code, name: share.name, expiresAt: share.expiresAt, routes: told } }
  }],

  ['GET', /^\/v1\/env-shares$/, request => {
    const agent = creatorOf(request)
    const own = [...shares.values()].filter(share => share.creator === agent.id && !ended(share)).reverse()
    return {
      shares: own.map(({ code, name, expiresAt, routes, joins, createdAt }) =>
        ({ code, name, expiresAt, routeCount: routes.length, joinCount: joins.length, createdAt }))
    }
  }],

  ['GET', /^\/v1\/env-shares\/([^/]+)$/, (request, body, code) => {
    const { name, expiresAt, routes, joins } = live(code)
    const told = routes.map(({ serviceName, protocol = 'auto' }) => ({ serviceName, protocol }))
    return { code, name, expiresAt, routeCount: routes.length, joinCount: Math.min(joins.length, 10), routes: told }
  }],

  ['POST', /^\/v1\/env-shares\/([^/]+)\/join$/, (request, body, code) => {
    const agent = creatorOf(request)
    const share = live(code)
    share.joins.push({ agentId: agent.id, agentLabel: body.agentLabel ?? agent.label, joinedAt: now() })
    const told = share.routes.map(({ serviceName, serviceId = null, targetHost, targetPort, localPort = null, protocol = 'auto' }) =>
      ({ serviceName, serviceId, targetHost, targetPort, localPort, protocol }))
    return { success: true, share: { code, name: share.name, expiresAt: share.expiresAt, routes: told } }
  }],

  ['DELETE', /^\/v1\/env-shares\/([^/]+)$/, (request, body, code) => {
    const agent = creatorOf(request)
    const share = shares.get(code)
    if (!share) throw new Refusal(403, 'Share not found')
    if (share.creator !== agent.id) throw new Refusal(403, 'Not authorized to revoke this share')
    share.revokedAt = now()
    return { success: true }
  }]
]

function makeCode () {
  return Array.from(crypto.randomBytes(CODE_LENGTH), byte => CODE_ALPHABET[byte % CODE_ALPHABET.length]).join('')
}

function snapshot (workspace) {
  return [...services.values()].filter(service => service.workspace === workspace)
    .map(({ id, name, targetHost, targetPort, tunnelPort, protocol }) => ({ serviceName: name, serviceId: id, targetHost, targetPort, localPort: tunnelPort, protocol }))
}

function ended (share) {
  if (share.revokedAt) return 'Share has been revoked'
  return Date.parse(share.expiresAt) <= clock() ? 'Share has expired' : undefined
}

function live (code) {
  const share = shares.get(code)
  if (!share) throw new Refusal(404, 'Share not found')
  const why = ended(share)
  if (why) throw new Refusal(404, why)
  return share
}

async function readBody (request) {
  const chunks = []
  let length = 0
  for await (const chunk of request) {
    length += chunk.length
    if (length <= MAX_BODY_BYTES) chunks.push(chunk)
  }
  if (length > MAX_BODY_BYTES) throw new Refusal(413, 'request entity too large')
  if (length === 0 || !/json/.test(request.headers['content-type'] ?? '')) return {}
  try {
    return JSON.parse(Buffer.concat(chunks).toString())
  } catch (error) {
    throw new Refusal(400, error.message, 'Bad Request')
  }
}

async function answer (request) {
  const { pathname } = new URL(request.url, 'http://hub')
  const body = await readBody(request)
  for (const [method, pattern, act] of routes) {
    const match = request.method === method && pattern.exec(pathname)
    if (match) return act(request, body, ...match.slice(1))
  }
  throw new Refusal(404, `Cannot ${request.method} ${pathname}`, 'Not Found')
}

async function serve (request, response) {
  let status = request.method === 'POST' ? 201 : 200
  let body
  try {
    body = await answer(request)
  } catch (error) {
    const refusal = error instanceof Refusal ? error : new Refusal(500, 'Internal server error')
    ;({ status, body } = refusal)
  }
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' })
  response.end(JSON.stringify(body))
}

// --- the agent socket

function greet (socket) {
  const { agentId, token } = socket.handshake.auth ?? {}
  if (!agentId || !token) return socket.disconnect()
  const agent = proven({ agentId, token })
  if (!agent) {
    socket.emit('error', { code: 'INVALID_TOKEN', message: 'Invalid credentials' })
    return socket.disconnect()
  }
  agent.socket = socket
  socket.on('disconnect', () => { agent.socket = undefined }) // whichever of its sockets it was
  listen(socket, agent)
  socket.emit('connected', { message: 'Connected to hub', tokenExpiresAt: agent.tokenExpiresAt })
}

function listen (socket, agent) {
  const on = (name, act) => socket.on(name, (...args) => {
    const reply = typeof args.at(-1) === 'function' ? args.pop() : undefined
    try {
      const result = act(args[0] ?? {})
      if (reply && result !== undefined) reply(result)
    } catch {
      socket.emit('exception', { status: 'error', message: 'Internal server error' })
    }
  })

  on('heartbeat', () => ({ success: true }))
  on('expose', () => agent.socket ? { success: true } : { success: false, error: `Agent ${agent.id} not connected` })
  on('reach_connect', request => reach(agent, request))
  on('reach_data', ({ connectionId, data }) => {
    const bridge = bridges.get(connectionId)
    const bytes = Buffer.from(data, 'base64')
    if (bridge?.ready) bridge.exposer.socket?.emit('data', { connectionId, data: bytes.toString('base64') }) // early bytes are lost
  })
  on('reach_close', ({ connectionId }) => {
    forget(connectionId)?.exposer.socket?.emit('close', { connectionId })
  })
  on('dial_success', ({ connectionId }) => {
    const bridge = bridges.get(connectionId)
    if (!bridge) return
    clearTimeout(bridge.timer)
    bridge.ready = true
    bridge.joiner.socket?.emit('reach_ready', { connectionId })
  })
  on('dial_error', ({ connectionId }) => {
    forget(connectionId)?.joiner.socket?.emit('reach_close', { connectionId })
  })
  on('data', ({ connectionId, data }) => {
    const bytes = Buffer.from(data, 'base64')
    bridges.get(connectionId)?.joiner.socket?.emit('reach_data', { connectionId, data: bytes.toString('base64') })
  })
  on('e2e_handshake', ({ connectionId, payload }) => {
    const bridge = bridges.get(connectionId)
    if (!RELAYS || !bridge?.ready) return
    const peer = agent === bridge.joiner ? bridge.exposer : bridge.joiner
    peer.socket?.emit('e2e_handshake', { connectionId, payload })
  })
  on('close', ({ connectionId }) => {
    forget(connectionId)?.joiner.socket?.emit('reach_close', { connectionId })
  })
}

function reach (joiner, { connectionId, serviceId }) {
  const service = services.get(serviceId)
  if (!joiner.socket) return { success: false, error: 'Agent not registered' }
  if (!service) return { success: false, error: 'Service not found' }
  const exposer = agents.get(service.agentId)
  if (!exposer?.socket) return { success: false, error: 'Exposing agent is not connected' }
  const timer = setTimeout(() => {
    forget(connectionId)?.joiner.socket?.emit('reach_error', { connectionId, error: 'Connection timeout' })
  }, DIAL_TIMEOUT_MS)
  bridges.set(connectionId, { joiner, exposer, ready: false, timer })
  exposer.socket.emit('dial', { connectionId, targetHost: service.targetHost, targetPort: service.targetPort, serviceId })
  return { success: true }
}

function forget (connectionId) {
  const bridge = bridges.get(connectionId)
  bridges.delete(connectionId)
  clearTimeout(bridge?.timer)
  return bridge
}

const server = http.createServer(serve)
const io = new Server(server, { serveClient: false })
io.of('/agent').on('connection', greet)
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` }))
})
// Whoever started this hub holds its standard input: when they go, however they go, the hub goes too.
process.stdin.resume().on('end', () => process.exit(0)).on('error', () => process.exit(0))
