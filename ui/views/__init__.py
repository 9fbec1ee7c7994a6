"""The pages, each a file with a function `show`. (Of a folder named `pages` Streamlit would make pages by itself.)"""
