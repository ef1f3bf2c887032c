// Reads a CAR file with an IPFS implementation that shares no code with hausd: checks every block
// against its CID, encodes every node again, writes the UnixFS tree below the root into a folder,
// and prints what it found as JSON.
//   node read-car.mjs FILE.car FOLDER
import { createReadStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { CarBlockIterator } from '@ipld/car'
import * as dagCbor from '@ipld/dag-cbor'
import * as dagPb from '@ipld/dag-pb'
import { exporter } from 'ipfs-unixfs-exporter'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'

const codecs = new Map([dagCbor, dagPb, raw].map((codec) => [codec.code, codec]))
const [file, folder] = process.argv.slice(2)

const car = await CarBlockIterator.fromIterable(createReadStream(file))
const [root] = await car.getRoots()
const blocks = new Map()
let bytesTotal = 0
for await (const { cid, bytes } of car) {
  const codec = codecs.get(cid.code)
  if (!CID.createV1(cid.code, await sha256.digest(bytes)).equals(cid)) throw new Error(`${cid}: hash`)
  if (Buffer.compare(codec.encode(codec.decode(bytes)), bytes) !== 0) throw new Error(`${cid}: form`)
  blocks.set(cid.toString(), bytes)
  bytesTotal += bytes.length
}

const store = {
  async * get (cid) {
    const found = blocks.get(cid.toString())
    if (found === undefined) throw new Error(`${cid} is not in the file`)
    yield found
  }
}

let files = 0
async function write (entry, to) {
  if (entry.type === 'directory') {
    await mkdir(to, { recursive: true })
    for await (const child of entry.entries()) {
      await write(await exporter(child.cid, store), path.join(to, child.name))
    }
    return
  }
  const parts = []
  for await (const part of entry.content()) parts.push(part)
  const content = Buffer.concat(parts)
  if (BigInt(content.length) !== BigInt(entry.size)) throw new Error(`${entry.cid}: size`)
  await writeFile(to, content)
  files += 1
}
if (root.code !== dagCbor.code) await write(await exporter(root, store), folder)

console.log(JSON.stringify({
  root: root.toString(),
  blocks: blocks.size,
  bytes: bytesTotal,
  files,
  links: [...blocks].filter(([cid]) => CID.parse(cid).code === dagCbor.code).length
}))
