// A js-libp2p node with gossipsub. Says {address}, then follows lines on standard input:
// {dial}, {subscribe}, {publish, text}; says what it hears, who is connected, and echoes /echo/1.
import { createLibp2p } from 'libp2p'
import { tcp } from '@libp2p/tcp'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { gossipsub } from '@libp2p/gossipsub'
import { multiaddr } from '@multiformats/multiaddr'
import { createInterface } from 'node:readline'

const say = (fact) => process.stdout.write(JSON.stringify(fact) + '\n')
const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    pubsub: gossipsub({ allowPublishToZeroTopicPeers: true })
  }
})
const pubsub = node.services.pubsub
const hear = (event) => {
  const message = event.detail?.msg ?? event.detail
  say({ heard: Buffer.from(message.data).toString(), from: String(message.from) })
}
pubsub.addEventListener('message', hear)
node.addEventListener('peer:identify', (event) => {
  say({ identified: String(event.detail.peerId), protocols: event.detail.protocols,
    addresses: event.detail.listenAddrs.map(String) })
})
await node.handle('/echo/1', async (stream) => {
  for await (const chunk of stream) stream.send(chunk.subarray())
  await stream.close()
})
say({ address: String(node.getMultiaddrs()[0]), id: String(node.peerId) })

for await (const line of createInterface({ input: process.stdin })) {
  const wanted = JSON.parse(line)
  try {
    if (wanted.dial) await node.dial(multiaddr(wanted.dial))
    if (wanted.ping) say({ rtt: await node.services.ping.ping(multiaddr(wanted.ping)) })
    if (wanted.subscribe) pubsub.subscribe(wanted.subscribe)
    if (wanted.publish) await pubsub.publish(wanted.publish, Buffer.from(wanted.text))
    if (wanted.upload) {
      const stream = await node.dialProtocol(multiaddr(wanted.upload), '/count/1')
      for (let left = wanted.bytes; left > 0; left -= 65536) {
        const more = stream.send(new Uint8Array(Math.min(65536, left)))
        if (more === false) await stream.onDrain()
      }
      await stream.close()
      say({ uploaded: wanted.bytes })
    }
  } catch (error) {
    say({ failed: String(error) })
  }
}
await node.stop()
