/** Elements, made without markup: whatever a name holds goes in as text. */
(() => {
  const SVG = "http://www.w3.org/2000/svg";

  /**
   * @param {Element} element
   * @param {Object<string, any>} attributes
   * @param {any[]} children
   */
  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "style")
        for (const [key, text] of Object.entries(value)) /** @type {any} */ (element).style.setProperty(key, text);
      else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  /**
   * `h("a.card.wide", {href: "#/"}, "text", otherElement)`.
   * @param {string} what tag and classes @param {Object<string, any>} [attributes] @param {...any} children
   * @returns {any}
   */
  function h(what, attributes = {}, ...children) {
    const [tag, ...classes] = what.split(".");
    const element = document.createElement(tag);
    if (classes.length) element.className = classes.join(" ");
    return fill(element, attributes, children);
  }

  /**
   * The same for SVG.
   * @param {string} tag
   * @param {Object<string, any>} [attributes]
   * @param {...any} children
   */
  function s(tag, attributes = {}, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
  }

  /** Tell readers of the screen, without moving what they look at. @param {string} text */
  function say(text) {
    document.getElementById("said").textContent = text;
  }

  atlas.h = h;
  atlas.s = s;
  atlas.say = say;
})();
