// What js-libp2p and Helia take for granted, and Node.js 20 has not.
Promise.withResolvers ??= () => {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}
Promise.try ??= function (call, ...given) {
  return new this((resolve) => resolve(call(...given)))
}
Array.fromAsync ??= async (items) => {
  const made = []
  for await (const item of items) made.push(item)
  return made
}
